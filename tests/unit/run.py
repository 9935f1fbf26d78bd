"""Run the test_* functions of one unit test module: micropython tests/unit/run.py MODULE.

The same files run under pytest. Exit code 0 only if at least one test ran and none failed.
"""

import gc
import sys

sys.path.insert(0, ".")


def main(name):
    module = __import__("tests.unit." + name, None, None, ("x",))
    names = [n for n in dir(module) if n.startswith("test_")]
    failed = 0
    for test in names:
        gc.collect()
        try:
            getattr(module, test)()
        except Exception as err:
            failed += 1
            print("FAILED", name + "." + test)
            sys.print_exception(err)
    print("{} passed, {} failed in {}".format(len(names) - failed, failed, name))
    return 1 if failed or not names else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
