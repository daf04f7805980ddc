"""The suite on the embedded broker."""


def test_embedded(run, name):
    run("embedded", name)
