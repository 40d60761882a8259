//! Job file → timetable → topic: the program that says when jobs are due.
