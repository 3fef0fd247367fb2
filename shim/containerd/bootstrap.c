/* SPDX-License-Identifier: Apache-2.0 */
/* How a shim begins and ends.
 *
 * One shim serves a group of containers: those of a pod (the annotation that names the sandbox). Its socket's name follows from containerd's
 * address, the namespace and the group, so that the second container's `start` finds the shim of the first: it cannot bind that name,
 * and if somebody answers there, that is the answer. If nobody does, the socket is a dead shim's and is removed.
 *
 * `start` must print the answer and nothing else, on neither output, and end; the shim lives on as its orphan, in a session of its own,
 * with the bundle's `log` FIFO (which containerd reads) as its standard error. */
#include "containerd/bootstrap.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "bootstrap.pb-c.h"
#include "containerd/publish.h"
#include "containerd/task.h"
#include "introspection.pb-c.h"
#include "oci.h"
#include "options.pb-c.h"
#include "spec/json.h"

