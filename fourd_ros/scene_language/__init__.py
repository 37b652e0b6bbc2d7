"""Scene language: an image stream -> poses, depth and points in bounded memory, and answers to open-vocabulary queries.

StreamVGGT with the language head of 4DLangVGGT.
"""
