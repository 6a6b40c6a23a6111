"""The HTML report: its data, formulas, template, styles and scripts.

The page is made in the browser from one block of data; Python decides what is in it, and how formulas and
numbers are written. `report/formats/html.py` is the door.
"""
