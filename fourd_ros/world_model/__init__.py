"""World models: an observation and a commanded motion go in, imagined futures come out."""
