# SPDX-License-Identifier: Apache-2.0
# What shim_checkpoint.sh runs: each function below is a case, with a shim of its own.
from shim_case import *


def checkpoint(s):
    """Saved and left running, saved and ended, restored; questions are answered meanwhile."""
    c = Container(s, "c", "/bin/sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done").create().start()
    c.out.read_until(b"3\n")
    images = WORK + "/images"
    options = wk.Any(type_url="containerd.runc.v1.CheckpointOptions", value=runc.CheckpointOptions().SerializeToString())
    saving = c.c.begin("Checkpoint", id="c", path=images, options=options)
    c.call("State")
    c.call("Stats")
    saving()
    assert os.path.exists(images + "/inventory.img") and c.call("State").status == task.RUNNING
    s.events.wait("/tasks/checkpointed", "c")
    c.out.read_until(b"\n")
    shutil.rmtree(images)
    options.value = runc.CheckpointOptions(exit=True).SerializeToString()
    c.call("Checkpoint", path=images, options=options)
    assert c.wait().exit_status == 137
    until(lambda: c.call("State").status == task.STOPPED)
    c.end()
    last = b""
    while piece := c.out.read():        # all that it has said: nobody has the other end any more
        last += piece
    r = Container(s, "r", "/bin/false").create(checkpoint=images)
    assert r.pid == 0 and r.call("State").status == task.CREATED
    assert "not been restored" in refused(9, r.call, "Kill", signal=9)
    r.start()
    assert r.pid > 0 and r.call("State").status == task.RUNNING
    first = int(r.out.read_until(b"\n").split()[0])
    if last.split():
        assert first == int(last.split()[-1]) + 1, (first, last[-20:])
    r.exec("e", "/bin/true")
    assert r.wait("e").exit_status == 0
    r.end()
    bad = Container(s, "bad", "/bin/false").create(checkpoint=WORK + "/nothing")
    text = refused(5, bad.start)
    assert WORK + "/nothing" in text, text
    bad.call("Delete")
    bad.call("Shutdown")


def saving(**fields):
    return wk.Any(type_url="torpor.v1.CheckpointOptions", value=torpor.CheckpointOptions(**fields).SerializeToString())


def restoring(**fields):
    return wk.Any(type_url="torpor.v1.Options", value=torpor.Options(**fields).SerializeToString())


COUNTER = ("/bin/sh", "-c", "x=$(head -c 2000000 /dev/zero | tr '\\0' x); i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done")


def count_after(c):
    c.out.read_until(b"\n")     # it may be half of one
    return int(c.out.read_until(b"\n").split()[-1])


def rounds(s):
    """Pre-dumps one by one, by their number, with tracking that the shim's keeper has; the last round is restored."""
    c = Container(s, "c", *COUNTER).create().start()
    shim_pid = c.call("Connect").shim_pid
    c.out.read_until(b"3\n")
    images = WORK + "/rounds"
    c.call("Checkpoint", path=WORK + "/unused", options=saving(image_path=images + "/1", pre_dump=True))
    assert not os.path.exists(WORK + "/unused")
    assert c.call("State").status == task.RUNNING
    until(lambda: len(children(shim_pid, "torpor-keeper")) == 1)
    c.call("Checkpoint", path=WORK + "/unused", options=saving(image_path=images + "/2", parent_path="../1", pre_dump=True, auto_dedup=True))
    count_after(c)
    c.call("Checkpoint", path=WORK + "/unused", options=saving(image_path=images + "/3", parent_path="../2", exit=True))
    assert c.wait().exit_status == 137 and os.readlink(images + "/3/parent") == "../2"
    until(lambda: not children(shim_pid, "torpor-keeper"))
    c.end()

    def size(d):
        return sum(os.path.getsize(d + "/" + n) for n in os.listdir(d) if n.startswith("pages-"))
    assert size(images + "/3") < size(images + "/1") / 2, (size(images + "/1"), size(images + "/3"))
    r = Container(s, "r", "/bin/false").create(checkpoint=images + "/3").start()
    count_after(r)
    # The same with the shim making the rounds; then one more that is left running and tracked.
    many = WORK + "/many"
    r.call("Checkpoint", path=many, options=saving(rounds=2, track=True))
    assert os.readlink(many + "/parent") == "round2" and os.readlink(many + "/round2/parent") == "../round1"
    assert r.call("State").status == task.RUNNING
    until(lambda: len(children(r.call("Connect").shim_pid, "torpor-keeper")) == 1)     # those of the rounds before end
    count_after(r)
    r.end()
    a = Container(s, "a", "/bin/false").create(checkpoint=many).start()
    count_after(a)
    for options, text in ((saving(rounds=2, pre_dump=True), "rounds"), (saving(lazy_pages=True), "lazy_pages"),
                          (saving(empty_namespaces=["user"]), "empty_namespaces user"), (saving(page_server="here"), "page server here"),
                          (wk.Any(type_url="some.other.Options", value=b"x"), "some.other.Options")):
        assert text in refused(3, a.call, "Checkpoint", path=WORK + "/no", options=options)
    a.end()
    b = Container(s, "b", "/bin/true")
    for options, text in ((restoring(lazy_pages=True), "lazy_pages"), (wk.Any(type_url="runtimeoptions.v1.Options", value=b"x"), "runtimeoptions")):
        assert text in refused(3, b.create, options=options)
    b.call("Shutdown")


def lazy(s):
    """Memory that comes later: from images, and from a lazy checkpoint whose container stands still until it has all been fetched; one that
    is given up, and goes on."""
    c = Container(s, "c", *COUNTER).create().start()
    c.out.read_until(b"3\n")
    images, server = WORK + "/lazy", WORK + "/pages"
    c.call("Checkpoint", path=images + "0", options=saving(exit=True, lazy_pages=True, page_server=server))
    assert os.path.exists(images + "0/inventory.img") and c.call("State").status == task.PAUSED
    s.events.wait("/tasks/checkpointed", "c")
    refused(2, c.exec, "e", "/bin/true")
    c.call("Resume")                                    # it is given up
    assert c.call("State").status == task.RUNNING
    count_after(c)
    c.call("Checkpoint", path=images, options=saving(exit=True, lazy_pages=True, page_server=server))
    r = Container(s, "r", "/bin/false").create(checkpoint=images, options=restoring(lazy_pages=True, page_server=server)).start()
    count_after(r)
    assert c.wait().exit_status == 137
    c.end()
    count_after(r)
    r.call("Checkpoint", path=images + "2", options=saving(exit=True))
    r.wait()
    r.end()
    d = Container(s, "d", "/bin/false").create(checkpoint=images + "2", options=restoring(lazy_pages=True)).start()
    count_after(d)
    d.exec("e", "/bin/true")
    assert d.wait("e").exit_status == 0
    d.end()
    # A shim that is killed while it serves: nothing is left.
    k = Container(s, "k", *COUNTER).create().start()
    k.out.read_until(b"3\n")
    k.call("Checkpoint", path=images + "3", options=saving(exit=True, lazy_pages=True, page_server=server + "3"))
    pids = [p.pid for p in k.call("Pids").processes]
    os.kill(k.call("Connect").shim_pid, 9)
    until(lambda: not answers(k.socket))
    s.run("k", k.bundle, "-bundle", k.bundle, "delete")
    for p in pids:
        until(lambda: gone(p))


run([checkpoint, rounds, lazy])
