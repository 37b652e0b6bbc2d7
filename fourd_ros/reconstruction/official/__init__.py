"""The mathematics and the files of DynamicVerse, equal to the original."""
