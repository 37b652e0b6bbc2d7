# Included into every interface project by CMAKE_PROJECT_INCLUDE (setup.py, or colcon --cmake-args on the wheels).
# ROS packages from wheels export include folders of the machine that built them, and CMake stops at a folder that
# does not exist. This drops those entries; on an installed ROS there are none.

function(fourd_drop_missing_include_folders)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(NOT folders)
      continue()
    endif()
    set(present "")
    foreach(folder IN LISTS folders)
      if(folder MATCHES "\\$<" OR EXISTS "${folder}")
        list(APPEND present "${folder}")
      endif()
    endforeach()
    set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${present}")
  endforeach()
endfunction()

cmake_language(DEFER CALL fourd_drop_missing_include_folders)
