# SPDX-License-Identifier: Apache-2.0
# on_pty.py INPUT COMMAND…: runs the command on a terminal of 91 columns and 37 rows, types INPUT once it has said something; prints all that it
# says, and ends as it does. ON_PTY_THEN is typed from then on twice a second, by itself: a key that ends it.
import fcntl, os, pty, select, signal, struct, sys, termios, time

def keys(text):
    return text.encode().decode("unicode_escape").encode()

pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 37, 91, 0, 0))
    os.execvp(sys.argv[2], sys.argv[2:])
text, then = keys(sys.argv[1]), keys(os.environ.get("ON_PTY_THEN", ""))
typed, end = 0, time.monotonic() + 60 * int(os.environ.get("TEST_PATIENCE", 1))
while time.monotonic() < end:
    if select.select([fd], [], [], 0.5)[0]:
        try:
            data = os.read(fd, 4096)
        except OSError:
            data = b""
        if not data:
            break
        os.write(1, data)
        if not typed:
            time.sleep(0.2)
            os.write(fd, text)
            typed = time.monotonic()
    if then and typed and time.monotonic() > typed + 0.5:
        try:
            os.write(fd, then)
        except OSError:
            break
        typed = time.monotonic()
else:
    os.kill(pid, signal.SIGKILL)
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status) & 255)
