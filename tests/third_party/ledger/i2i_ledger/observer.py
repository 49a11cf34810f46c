import json

from i2i import hookimpl


class Lowest:
    def __init__(self, settings):
        self.settings, self.lowest = settings, {}  # of this run

    @hookimpl
    def numbers_logged(self, values):
        known = {name: value for name, value in values.items() if name.startswith(self.settings.only)}
        self.lowest |= {name: min(value, self.lowest.get(name, value)) for name, value in known.items()}

    @hookimpl
    def run_ended(self, run):
        if run.accelerator.is_main_process:
            (run.out / "ledger.json").write_text(json.dumps(self.lowest))


class Mirrored:
    def __init__(self, translator):
        self.module = translator.module

    def __call__(self, x, source, target):
        return (self.module(x, source, target).image + self.module(x.flip(3), source, target).image.flip(3)) / 2
