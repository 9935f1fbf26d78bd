"""The least that is an application: no connector is ever in use. For tests of the update itself."""

import asyncio


def create(services):
    return App(services)


class App:
    def __init__(self, services):
        services.log("small app " + services.version)

    async def run(self):
        while True:
            await asyncio.sleep(0.05)

    def connectors(self):
        return ["Available"]

    def charging(self):
        return False

    def contactor_closed(self):
        return False

    def hold(self, on):
        pass

    def self_test(self):
        return True, "nothing to test"
