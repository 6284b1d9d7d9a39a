"""Whom a dataset and its model fail: slices that are worse served, or held too little of.

`slices` reads the columns, `evidence` labels and a model's answers, `audit` runs all tests and
corrects them together, `remedies` plans what to do.
"""
