# SPDX-License-Identifier: Apache-2.0
# torpor: one Makefile, no configure step, everything built below build/ (or O=DIR).
#   make              programs in build/bin, manual pages in build/man
#   make deps         installs what is needed, on Debian (make deps WITH="build test lint" for lint as well)
#   make demo         shows containers that are checkpointed and restored; needs root
#   make check        builds and runs all tests; make check T=PATTERN some of them
#   make lint         format, clang-tidy, cppcheck, direction of includes
#   make install      PREFIX=/usr/local, DESTDIR for packagers; WITH_CRIU_LINK=1: torpor-cr under the name criu as well
#   make SAN=1 …      the same with AddressSanitizer and UndefinedBehaviorSanitizer, below build-san/
SAN ?=
O ?= $(if $(SAN),build-san,build)
PREFIX ?= /usr/local
DESTDIR ?=
ifeq ($(origin CC),default)
CC := gcc
endif
VERSION := 0.1.0

WARNINGS := -Wall -Wextra -Wshadow -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual \
	-Wundef -Wvla -Wno-missing-field-initializers
# clang also tells of casts in the macros that protoc-c writes; gcc watches ours.
ifneq (,$(findstring clang,$(CC)))
WARNINGS := $(filter-out -Wcast-qual,$(WARNINGS))
endif
, := ,
OPT := $(if $(SAN),-O1 -fsanitize=address$(,)undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined,-O2 -D_FORTIFY_SOURCE=2)
CFLAGS ?= -g
override CFLAGS += -std=gnu17 $(OPT) $(WARNINGS) -fstack-protector-strong -fPIE
CPPFLAGS += -D_GNU_SOURCE -DTORPOR_VERSION='"$(VERSION)"'
LDFLAGS += -pie -Wl,-z,relro,-z,now $(if $(SAN),-fsanitize=address$(,)undefined)
# Small libraries are linked in where their archives are installed: to load them is a quarter of what `torpor state` takes. DYNAMIC=1 does not.
archive = $(if $(DYNAMIC),,$(filter /%,$(shell $(CC) -print-file-name=lib$(1).a 2>/dev/null)))
LDLIBS := $(foreach l,protobuf-c:protobuf-c yajl_s:yajl seccomp:seccomp cap:cap,$(or $(call archive,$(firstword $(subst :, ,$(l)))),-l$(lastword $(subst :, ,$(l)))))

# What each folder may include: the folders below it, so that an upward include does not compile.
INC_checkpoint := -Icheckpoint -isystem $(O)/proto
INC_hooks := -Icheckpoint -Ihooks
INC_oci := -Icheckpoint -Ihooks -Ioci
INC_shim := -Icheckpoint -Ihooks -Ioci -Ishim -isystem $(O)/proto

PROTOS := $(wildcard proto/images/*.proto proto/*.proto proto/shim/*.proto)
PROTO_C := $(patsubst %.proto,$(O)/proto/%.pb-c.c,$(notdir $(PROTOS)))
PROTO_O := $(PROTO_C:.c=.o)
SRC_checkpoint := $(wildcard checkpoint/*.c checkpoint/*/*.c checkpoint/remote/arch/x86_64/*.c)
SRC_hooks := $(wildcard hooks/*.c)
SRC_oci := $(wildcard oci/*.c oci/*/*.c)
SRC_shim := $(wildcard shim/*.c shim/*/*.c)
obj = $(patsubst %.c,$(O)/%.o,$(1))
LIB_checkpoint := $(O)/libtorpor-checkpoint.a
LIB_oci := $(O)/libtorpor-oci.a
LIB_shim := $(O)/libtorpor-shim.a
LIBS := $(LIB_shim) $(LIB_oci) $(LIB_checkpoint)
MAINS := shim/torpor.c shim/torpor-cr.c shim/torpor-netlock.c shim/containerd-shim-torpor-v1.c
PROGRAMS := $(MAINS:shim/%.c=$(O)/bin/%)

MANUALS := $(patsubst contrib/man/%.in,$(O)/man/%,$(wildcard contrib/man/*.in))

COMPLETIONS := $(foreach p,$(patsubst contrib/completions/%.c,%,$(wildcard contrib/completions/*.c)),$(patsubst %,$(O)/completions/$(p).%,bash zsh fish))

all: $(PROGRAMS) $(MANUALS) $(COMPLETIONS)

# protobuf: the compiler writes all headers at once; objects wait for the stamp.
$(O)/proto/.stamp: $(PROTOS)
	@mkdir -p $(@D)
	protoc-c -Iproto/images -Iproto/shim -Iproto --c_out=$(@D) $(PROTOS)
	@touch $@
$(PROTO_C): $(O)/proto/.stamp ;
$(PROTO_O): %.o: %.c
	$(CC) -std=gnu17 -g $(if $(SAN),-O1,-O2) -fPIE -I$(O)/proto -c $< -o $@

define folder_rule
$(O)/$(1)/%.o: $(1)/%.c $(O)/proto/.stamp
	@mkdir -p $$(@D)
	$$(CC) $$(CPPFLAGS) $$(INC_$(1)) $$(CFLAGS) -MMD -MP -c $$< -o $$@
endef
$(foreach f,checkpoint hooks oci shim,$(eval $(call folder_rule,$(f))))

# --version names the commit: one object is made anew when the repository moves.
$(O)/shim/cmd/version.o: $(wildcard .git/logs/HEAD)
$(O)/shim/cmd/version.o: CPPFLAGS += -DTORPOR_COMMIT='"$(or $(shell git rev-parse --short=12 HEAD 2>/dev/null),unknown)"'

$(LIB_checkpoint): $(call obj,$(SRC_checkpoint)) $(PROTO_O)
$(LIB_oci): $(call obj,$(SRC_oci)) $(call obj,$(SRC_hooks))
$(LIB_shim): $(call obj,$(filter-out $(MAINS),$(SRC_shim)))
$(LIBS):
	@rm -f $@
	$(AR) rcs $@ $^

# Engines start torpor for every single thing they ask: without a loader at work that takes a third less. (The linker warns of what would load
# libraries later: names of hosts, and TLS, which torpor has no option for.) DYNAMIC=1, or a missing archive: as the other programs.
ifeq ($(SAN)$(DYNAMIC)$(filter -l%,$(LDLIBS)),)
$(O)/bin/torpor $(O)/bin/torpor-netlock: LDFLAGS := $(if $(call archive,c),$(filter-out -pie,$(LDFLAGS)) -static-pie $(if $(shell ld --help | grep -e --no-warnings),-Wl$(,)--no-warnings),$(LDFLAGS))
endif
$(O)/bin/%: $(O)/shim/%.o $(LIBS)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $^ $(LDLIBS) -o $@

# Manual pages: contrib/man/NAME.in around what contrib/man/NAME.c, if there is one, prints from the option table.
$(O)/man/%: contrib/man/%.in $(O)/man/%.options
	sed -e 's/@VERSION@/$(VERSION)/' -e '/^@OPTIONS@$$/{' -e 'r $(word 2,$^)' -e 'd' -e '}' $< >$@
$(O)/man/%: contrib/man/%.in
	@mkdir -p $(@D)
	sed -e 's/@VERSION@/$(VERSION)/' $< >$@
$(O)/man/%.options: $(O)/man/%.print
	$< >$@
# Completion scripts, printed from the same tables.
$(O)/completions/%.bash $(O)/completions/%.zsh $(O)/completions/%.fish: $(O)/completions/%.print
	$< bash >$(O)/completions/$*.bash
	$< zsh >$(O)/completions/$*.zsh
	$< fish >$(O)/completions/$*.fish
$(O)/completions/%.print: contrib/completions/%.c $(LIBS)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(INC_shim) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -o $@
$(O)/man/%.print: contrib/man/%.c $(LIBS)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(INC_shim) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -o $@

include test/rules.mk

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man8
	install $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(filter %.1,$(MANUALS)) $(DESTDIR)$(PREFIX)/share/man/man1
	$(if $(WITH_CRIU_LINK),@{ test -e $(DESTDIR)$(PREFIX)/bin/criu || test -L $(DESTDIR)$(PREFIX)/bin/criu; } && echo "$(DESTDIR)$(PREFIX)/bin/criu is there already: not replaced" || ln -s torpor-cr $(DESTDIR)$(PREFIX)/bin/criu)
	install -m 644 $(filter %.8,$(MANUALS)) $(DESTDIR)$(PREFIX)/share/man/man8
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,bash-completion/completions zsh/site-functions fish/vendor_completions.d)
	for c in $(COMPLETIONS); do n=$${c##*/}; p=$${n%.*}; case $$n in \
		*.bash) to=bash-completion/completions/$$p ;; \
		*.zsh) to=zsh/site-functions/_$$p ;; \
		*.fish) to=fish/vendor_completions.d/$$p.fish ;; \
	esac; install -m 644 $$c $(DESTDIR)$(PREFIX)/share/$$to || exit 1; done

deps:
	contrib/packaging/deps $(WITH)

demo: deps
	$(MAKE) -s all
	test/demo.sh $(O)

LINTED = $(shell find $(wildcard checkpoint hooks oci shim test) -name '*.[ch]' | LC_ALL=C sort)
lint: $(O)/proto/.stamp
	@test/lint-includes $(LINTED)
	@test/lint-format $(LINTED)
	@cppcheck -q -j2 --enable=warning,portability --inline-suppr --error-exitcode=1 --std=c11 -D_GNU_SOURCE -D__x86_64__ -Icheckpoint -Ioci -Ishim \
		--suppress=missingIncludeSystem --suppress=comparePointers:*/loop.c $(filter %.c,$(LINTED))
	@test/lint-tidy $(O) $(filter-out test/%,$(filter %.c,$(LINTED))) $(wildcard test/unit/*.c) test/harness.c
	@! command -v shellcheck >/dev/null || shellcheck -s bash -S error test/run test/lib.sh test/demo.sh .ci/run contrib/packaging/deps


clean:
	rm -rf build build-san

-include $(wildcard $(O)/*/*.d $(O)/*/*/*.d $(O)/*/*/*/*.d $(O)/*/*/*/*/*.d)
.PHONY: all clean deps demo check bench lint install
.SECONDARY:
