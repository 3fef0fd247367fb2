/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CONTAINERD_LOGGER_H
#define CONTAINERD_LOGGER_H

#include <stdbool.h>

bool logger_is_meant(const char *uri);
/* In the worker: starts the program that the URI names, with the reading ends of standard output and error, and waits until it is ready. */
int logger_start(const char *uri, const int streams[2], const char *container, const char *containerd_ns);

#endif
