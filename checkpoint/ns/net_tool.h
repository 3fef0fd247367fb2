/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NS_NET_TOOL_H
#define NS_NET_TOOL_H

#include "ns/net.h"

/* Runs a program of the engine's machine in this thread's network namespace, with these as its input and output (-1: none). 0, or an error
 * that has the first line of what the program said. */
int net_tool(const char *const *argv, int in, int out);

#endif
