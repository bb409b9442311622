"""Verifiable rewards: is the answer right (`accuracy`), has it the asked form (`format`), both (`verifier`).

A wrong or unreadable answer is worth 0 by rule; machinery that fails raises RewardError instead (DESIGN 5.5).
"""
