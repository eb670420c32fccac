"""The HTTP front: the only place that imports the web framework. Holds no rules of tasks."""
