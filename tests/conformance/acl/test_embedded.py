"""The suite of rights on the embedded broker."""


def test_embedded(run, name):
    run("embedded", name)
