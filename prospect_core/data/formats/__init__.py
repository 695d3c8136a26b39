"""Readers and writers of other formats: tables, subtitles, ProAssist's rows, clips and trees."""
