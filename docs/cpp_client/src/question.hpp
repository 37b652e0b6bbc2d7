#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

#include "fourd_msgs/action/imagine.hpp"

/// What happens if a joint moves to a position [rad or m] within a time? The other joints hold.
inline fourd_msgs::action::Imagine::Goal make_question(
  const std::string & joint, double position, std::chrono::milliseconds within)
{
  trajectory_msgs::msg::JointTrajectoryPoint end;
  end.positions = {position};
  end.time_from_start.sec = static_cast<std::int32_t>(within.count() / 1000);
  end.time_from_start.nanosec = static_cast<std::uint32_t>(within.count() % 1000 * 1'000'000);

  trajectory_msgs::msg::JointTrajectory motion;
  motion.joint_names = {joint};
  motion.points = {std::move(end)};

  fourd_msgs::action::Imagine::Goal goal;
  goal.candidates = {std::move(motion)};
  return goal;
}
