"""Embedded 12-lead recordings: a physiological generator that writes PTB-XL's and MIT-BIH's layouts."""
