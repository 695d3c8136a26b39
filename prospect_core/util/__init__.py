"""Utilities that know neither models nor data: errors, console, JSON, atomic writes, locks, processes, caches."""
