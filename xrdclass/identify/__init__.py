"""Which of several phases a scan holds, none or more than one: lessons 08 to 10."""
