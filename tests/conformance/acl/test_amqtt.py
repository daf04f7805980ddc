"""The suite of rights on the amqtt broker."""


def test_amqtt(run, name):
    run("amqtt", name)
