"""Copies of one picture: how to find the pairs that may be, and how to tell whether they are.

`candidates` proposes pairs by recall from thumbnails of 64 x 64 pixels; `registration` lays one
picture of a pair over the other; `verification` judges what still differs.
"""
