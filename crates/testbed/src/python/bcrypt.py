"""Stands in for bcrypt, which the manager's modules import for the dashboard's passwords.

Debian 13's cannot be loaded by a second interpreter of one process, and so by none of the
manager's modules. No password is hashed in a test cluster.
"""
