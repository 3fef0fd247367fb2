# SPDX-License-Identifier: Apache-2.0
# on_pty.py INPUT COMMAND…: runs the command on a terminal of 91 columns and 37 rows, types INPUT once it has said something; prints all that it
# says, and ends as it does.
import fcntl, os, pty, select, struct, sys, termios, time

pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 37, 91, 0, 0))
    os.execvp(sys.argv[2], sys.argv[2:])
text = sys.argv[1].encode().decode("unicode_escape").encode()
typed, end = False, time.monotonic() + 30
while time.monotonic() < end:
    if not select.select([fd], [], [], 1)[0]:
        continue
    try:
        data = os.read(fd, 4096)
    except OSError:
        data = b""
    if not data:
        break
    os.write(1, data)
    if not typed:
        time.sleep(0.2)
        typed = os.write(fd, text) > 0
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status) & 255)
