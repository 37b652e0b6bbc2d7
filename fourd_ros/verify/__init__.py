"""Compares a system with the vectors that the original networks computed: ``fourd verify SYSTEM DIR``."""
