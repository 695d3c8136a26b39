"""Small tools without knowledge of models or data: errors, console, JSON, atomic writes, locks, processes, caches."""
