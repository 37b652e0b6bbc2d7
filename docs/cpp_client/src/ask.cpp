// Asks a running world model what happens if one joint moves: ros2 run fourd_cpp_client ask panda_joint1 0.4

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>

#include "fourd_msgs/action/imagine.hpp"
#include "rclcpp/rclcpp.hpp"
#include "rclcpp_action/rclcpp_action.hpp"

#include "question.hpp"

using Imagine = fourd_msgs::action::Imagine;
using rclcpp::FutureReturnCode;
using namespace std::chrono_literals;

int main(int argc, char ** argv)
{
  const auto words = rclcpp::init_and_remove_ros_arguments(argc, argv);
  if (words.size() != 3) {
    std::fprintf(stderr, "usage: ask JOINT POSITION\n");
    return 2;
  }
  const auto node = std::make_shared<rclcpp::Node>("ask");
  const auto client = rclcpp_action::create_client<Imagine>(node, "world_model/imagine");
  if (!client->wait_for_action_server(10s)) {
    RCLCPP_ERROR(node->get_logger(), "no world model; start one: fourd bringup world_model");
    return 1;
  }

  const auto sent = client->async_send_goal(make_question(words[1], std::stod(words[2]), 1s));
  if (rclcpp::spin_until_future_complete(node, sent, 10s) != FutureReturnCode::SUCCESS || !sent.get()) {
    RCLCPP_ERROR(node->get_logger(), "the world model did not take the question");
    return 1;
  }
  const auto ended = client->async_get_result(sent.get());
  if (rclcpp::spin_until_future_complete(node, ended, 60s) != FutureReturnCode::SUCCESS) {
    RCLCPP_ERROR(node->get_logger(), "no answer");
    return 1;
  }
  const auto answer = ended.get();
  if (answer.code != rclcpp_action::ResultCode::SUCCEEDED) {
    RCLCPP_ERROR(node->get_logger(), "%u: %s", answer.result->error_code, answer.result->error_msg.c_str());
    return 1;
  }
  for (const auto & rollout : answer.result->rollouts) {
    std::printf(
      "rollout %s: %zu frames by %s in %.3f s\n", rollout.rollout_id.c_str(), rollout.times_from_start.size(),
      rollout.backend.c_str(), rollout.compute_time);
  }
  rclcpp::shutdown();
  return 0;
}
