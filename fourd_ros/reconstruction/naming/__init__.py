"""What things are called: a vision language model where there is one, else what can be seen of them."""
