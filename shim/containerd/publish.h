/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TASK_PUBLISH_H
#define TASK_PUBLISH_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

#include "wellknown.pb-c.h"

/* Events on their way to containerd, in order. */
void publish_begin(const char *address, const char *ns);   /* its ttrpc socket; both live on */
/* event: a message of containerd.events, whose type is named by `type` ("TaskExit"). */
void publish(const char *topic, const char *type, const ProtobufCMessage *event);
/* Calls back when nothing is left to send, or after so many milliseconds; four times as many while containerd is there and does not acknowledge. */
void publish_drain(unsigned ms, void (*done)(void));

/* The time as the protocol has it. */
struct timespec;
void timestamp_fill(Wk__Timestamp *t, const struct timespec *at);

#endif
