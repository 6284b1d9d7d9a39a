from curation import errors


def test_unreadable_image__keeps_its_reason() -> None:
    error = errors.UnreadableImage("truncated")
    assert (error.reason, str(error)) == ("truncated", "truncated")
