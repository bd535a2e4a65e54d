"""Metrics: pure functions of numpy arrays, without files, frames or names of tasks."""
