"""Readers and writers of other people's files: tables, subtitles, ProAssist's rows, clips and trees."""
