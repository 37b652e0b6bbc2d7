"""What decides how a robot moves: it is told what is seen and answers with commanded motions."""
