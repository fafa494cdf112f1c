#!/usr/bin/env python3
# A platform for the command driver, both of its programs in one: keeper FOLDER WORKER, with an order or a question on
# standard input. An instance is a file in FOLDER, named by its id, that holds the number of its worker's process.
import json, os, signal, subprocess, sys, time

folder, worker = sys.argv[1:]
asked = json.load(sys.stdin)
home = os.path.dirname(folder)
GRACE = 5


def runs(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


instances = {}
for name in os.listdir(folder):
    path = os.path.join(folder, name)
    pid, _, ending = open(path).read().partition(" ")
    if runs(pid):
        instances[name] = (int(pid), bool(ending), time.time() - os.path.getctime(path))
    else:
        os.remove(path)
up = [name for name, (_, ending, _) in instances.items() if not ending]


def desired(changed):
    print(json.dumps({"desired": len(up), "changed": changed}))


def note(name, text):
    with open(os.path.join(folder, "..", "new." + name), "w") as file:
        file.write(text)
    os.rename(os.path.join(folder, "..", "new." + name), os.path.join(folder, name))


if "grow_to" in asked:
    changed = len(up) < asked["grow_to"]
    while len(up) < asked["grow_to"]:
        name = f"task-{time.time_ns()}"
        quiet = subprocess.DEVNULL
        environment = dict(os.environ, HEADCOUNT_INSTANCE=name)
        # A session of its own: what this program leaves in its group is killed.
        started = subprocess.Popen([worker], stdin=quiet, stdout=quiet, stderr=quiet, env=environment, start_new_session=True)
        note(name, str(started.pid))
        up.append(name)
elif "remove" in asked:
    changed = False
    for name in [name for name in asked["remove"] if name in up]:
        pid, changed = instances[name][0], True
        note(name, f"{pid} ending")
        os.kill(pid, signal.SIGTERM)
        up.remove(name)
        killer = f"sleep {GRACE}; if kill -0 {pid}; then echo {name} >>{home}/killed; kill -9 {pid}; fi"
        quiet = subprocess.DEVNULL
        subprocess.Popen(["sh", "-c", killer], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
else:
    states = [
        {"id": name, "age_s": age, "state": "ending" if ending else "up"} for name, (_, ending, age) in instances.items()
    ]
    limits = {"removal": "chosen", "boot_s": 1, "grace_s": GRACE}
    print(json.dumps({"desired": len(up), "instances": states, "limits": limits}))
    sys.exit()

if os.path.exists(f"{home}/late"):
    os.remove(f"{home}/late")
    time.sleep(10)
desired(changed)
