# SPDX-License-Identifier: Apache-2.0
# Tests. A file test/unit/NAME.c is a unit test (test/harness.h), linked with the libraries; any other test/*/NAME.c is a program that
# tests run, built on its own; a file test/*/NAME.sh is a test, and an executable
# test/*/tests has tests of its own. `make check T=PATTERN` runs the tests whose name matches.
UNIT_TESTS := $(patsubst test/%.c,$(O)/test/%,$(wildcard test/unit/*.c))
TEST_PROGRAMS := $(patsubst test/%.c,$(O)/test/%,$(filter-out test/unit/% test/fuzz/%,$(wildcard test/*/*.c)))
T ?=

# A unit test may reach into every folder, the programs' tables included.
$(O)/test/unit/%.o $(O)/test/harness.o $(O)/test/live.o: CPPFLAGS += -Icheckpoint -Ihooks -Ioci -Ishim -Itest -isystem $(O)/proto
$(O)/test/%.o: test/%.c $(O)/proto/.stamp
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@
$(UNIT_TESTS): %: %.o $(O)/test/harness.o $(LIBS)
	$(CC) $(LDFLAGS) $(filter %.o,$^) $(LIBS) $(LDLIBS) -o $@
$(O)/test/unit/live $(O)/test/unit/live_killed: $(O)/test/live.o
# What is checkpointed is an ordinary program: no sanitizer in it.
$(TEST_PROGRAMS): $(O)/test/%: test/%.c $(wildcard test/*.h test/*/*.h)
	@mkdir -p $(@D)
	$(CC) -std=gnu17 -g -O2 -Wall -Wextra -Wno-missing-field-initializers -D_GNU_SOURCE -Itest -pthread $< -lm -o $@

# Fuzzers (clang's libFuzzer): test/fuzz/*.sh run them as tests; or make fuzz, then e.g. build/fuzz/spec -max_total_time=60. Of the libraries only what they test.
FUZZERS := $(patsubst test/fuzz/%.c,$(O)/fuzz/%,$(wildcard test/fuzz/*.c))
FUZZED_spec := $(wildcard oci/spec/*.c) $(addprefix checkpoint/base/,err.c fd.c str.c log.c json_escape.c)
FUZZED_frame := shim/containerd/frame.c $(addprefix checkpoint/base/,err.c fd.c str.c log.c json_escape.c)
FUZZED_ttrpc := $(addprefix shim/containerd/,frame.c loop.c options.c) $(addprefix checkpoint/base/,err.c fd.c str.c log.c json_escape.c) \
	$(addprefix $(O)/proto/,ttrpc.pb-c.c task.pb-c.c torpor.pb-c.c wellknown.pb-c.c)
FUZZED_netns := checkpoint/ns/net_parse.c checkpoint/sockets/diag.c $(addprefix checkpoint/base/,netlink.c err.c fd.c str.c log.c json_escape.c)
FUZZED_wire := checkpoint/pages/wire.c $(addprefix checkpoint/base/,err.c fd.c str.c log.c json_escape.c)
FUZZED_netlink := hooks/netlock_rules.c $(addprefix checkpoint/base/,netlink.c netlink_batch.c err.c fd.c str.c log.c json_escape.c)
.SECONDEXPANSION:
$(FUZZERS): $(O)/fuzz/%: test/fuzz/%.c $$(FUZZED_$$*) $(O)/proto/.stamp
	@mkdir -p $(@D)
	clang -std=gnu17 -g -O1 -fsanitize=fuzzer$(,)address$(,)undefined $(CPPFLAGS) -Icheckpoint -Ihooks -Ioci -Ishim -isystem $(O)/proto $< $(FUZZED_$*) $(LDLIBS) -o $@
fuzz: $(FUZZERS)

tests: $(UNIT_TESTS) $(TEST_PROGRAMS)
check: all tests
	test/run --build $(O) $(if $(T),'$(T)')

bench: all $(TEST_PROGRAMS)
	test/bench/run --build $(O) $(B)

.PHONY: tests fuzz
