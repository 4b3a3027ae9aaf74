"""Names of the classes of predicted tokens; both sides of the wall count them by place."""

#: In the order in which figures show them.
CLASSES = (
    "left delimiter",
    "right delimiter",
    "formatting",
    "word start",
    "word part",
    "word end",
    "digit",
    "first pair",
    "induction",
    "other",
)
