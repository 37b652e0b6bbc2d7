"""A tabletop with a Franka Panda in MuJoCo: scenes, tasks, policies and recordings with known truth."""
