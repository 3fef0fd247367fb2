/* SPDX-License-Identifier: Apache-2.0 */
/* cpuinfo.img: the processor that a checkpoint comes from, and whether this one can take its place.
 *
 * The image has CPUID's feature words in the order of CRIU 4.2 (capability_ver 2, 19 words; found by comparing its image with CPUID). Words 3, 7
 * and 8 are Linux's own inventions, not the processor's: they are written as 0 and not compared. xfeatures_mask is without the bit of SSE, as
 * CRIU writes it: every x86-64 has SSE.
 *
 * Compared are, as asked for: that every feature of the image is here (ins), that every component of the extended state is (fpu), that it is the
 * same make, family, model and stepping (cpu). An image with words in another order (CRIU before 3.15) is refused: nothing can be said of it. */
#include "checkpoint.h"
#include "cpuinfo.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/cpu.h"
#include "base/err.h"
#include "cpuinfo.pb-c.h"

#if defined __x86_64__
#include <cpuid.h>

#define ORDER 2
#define WORDS 19
#define SSE_COMPONENT 2u

enum word { EAX, EBX, ECX, EDX, NONE };
static const struct {
	uint32_t leaf, part;
	enum word word;
} words[WORDS] = {
	{ 1, 0, EDX },           { 0x80000001, 0, EDX }, { 0x80860001, 0, EDX }, { 0, 0, NONE },   { 1, 0, ECX },
	{ 0xC0000001, 0, EDX },  { 0x80000001, 0, ECX }, { 0, 0, NONE },         { 0, 0, NONE },   { 7, 0, EBX },
	{ 0xd, 1, EAX },         { 7, 0, ECX },          { 0xf, 1, EDX },        { 0x80000008, 0, EBX }, { 6, 0, EAX },
	{ 0x8000000a, 0, EDX },  { 0, 0, NONE },         { 0x80000007, 0, EBX }, { 7, 0, EDX },
};

struct processor {
	CpuinfoX86Entry entry;
	uint32_t words[WORDS];
	char name[49];
};

static bool leaf(uint32_t number, uint32_t part, uint32_t out[4])
{
	unsigned max = __get_cpuid_max(number & 0xffff0000, NULL);

	if (max < number || (max & 0xffff0000) != (number & 0xffff0000))
		return false;
	__cpuid_count(number, part, out[EAX], out[EBX], out[ECX], out[EDX]);
	return true;
}

static uint32_t word(size_t i)
{
	uint32_t regs[4];

	return words[i].word != NONE && leaf(words[i].leaf, words[i].part, regs) ? regs[words[i].word] : 0;
}

static void identify(CpuinfoX86Entry *e)
{
	uint32_t r[4] = { 0 };
	char maker[13] = "";

	leaf(0, 0, r);
	memcpy(maker, &r[EBX], 4);
	memcpy(maker + 4, &r[EDX], 4);
	memcpy(maker + 8, &r[ECX], 4);
	e->vendor_id = !strcmp(maker, "GenuineIntel") ? CPUINFO_X86_ENTRY__VENDOR__INTEL
		: !strcmp(maker, "AuthenticAMD")      ? CPUINFO_X86_ENTRY__VENDOR__AMD
						      : CPUINFO_X86_ENTRY__VENDOR__UNKNOWN;
	leaf(1, 0, r);
	uint32_t family = r[EAX] >> 8 & 0xf, model = r[EAX] >> 4 & 0xf;
	e->cpu_family = family == 0xf ? family + (r[EAX] >> 20 & 0xff) : family;
	e->model = family == 0xf || family == 6 ? model | (r[EAX] >> 16 & 0xf) << 4 : model;
	e->stepping = r[EAX] & 0xf;
}

static void ask(struct processor *p)
{
	CpuinfoX86Entry *e = &p->entry;
	uint32_t r[4] = { 0 };

	cpuinfo_x86_entry__init(e);
	identify(e);
	e->capability_ver = ORDER;
	for (size_t i = 0; i < WORDS; i++)
		p->words[i] = word(i);
	e->capability = p->words;
	e->n_capability = WORDS;
	for (uint32_t i = 0; i < 3 && leaf(0x80000002 + i, 0, r); i++)
		memcpy(p->name + i * sizeof r, r, sizeof r);
	p->name[48] = 0;
	e->model_id = p->name + strspn(p->name, " ");
	e->has_xfeatures_mask = true;
	e->xfeatures_mask = cpu_xcr0() & ~(uint64_t)SSE_COMPONENT;
	if (leaf(0xd, 0, r)) {
		e->has_xsave_size = e->has_xsave_size_max = true;
		e->xsave_size = r[EBX];
		e->xsave_size_max = r[ECX];
	}
}

int cpuinfo_write(struct image_dir *images)
{
	struct processor here = { .name = "" };
	CpuinfoEntry e = CPUINFO_ENTRY__INIT;
	CpuinfoX86Entry *list[1] = { &here.entry };

	ask(&here);
	e.x86_entry = list;
	e.n_x86_entry = 1;
	return image_write_one(images, IMG_CPUINFO, 0, &e);
}

static int compare_features(const CpuinfoX86Entry *there, const CpuinfoX86Entry *here)
{
	if (there->capability_ver != ORDER || there->n_capability > WORDS)
		return fail_text(ENOTSUP, "cpuinfo.img: features in order %u with %zu words: only that of CRIU 3.15 and newer (%d) is known",
				 there->capability_ver, there->n_capability, ORDER);
	for (size_t i = 0; i < there->n_capability; i++) {
		uint32_t missing = there->capability[i] & ~here->capability[i];
		if (words[i].word != NONE && missing)
			return fail_text(ENOTSUP, "this processor (%s) lacks features of the one of the checkpoint (%s): bits %#x of word %zu (CPUID %#x)",
					 here->model_id, there->model_id ? there->model_id : "?", missing, i, words[i].leaf);
	}
	return 0;
}

static int compare(const CpuinfoX86Entry *there, const CpuinfoX86Entry *here, unsigned caps)
{
	uint64_t missing = there->xfeatures_mask & ~(here->xfeatures_mask | SSE_COMPONENT);

	if (there->vendor_id != here->vendor_id && caps)
		return fail_text(ENOTSUP, "the checkpoint comes from a processor of another make (%s; this is %s)",
				 there->model_id ? there->model_id : "?", here->model_id);
	if ((caps & CK_CPU_SAME) && (there->cpu_family != here->cpu_family || there->model != here->model || there->stepping != here->stepping))
		return fail_text(ENOTSUP, "the checkpoint comes from family %u, model %u, stepping %u; this processor is family %u, model %u, stepping %u",
				 there->cpu_family, there->model, there->stepping, here->cpu_family, here->model, here->stepping);
	if ((caps & CK_CPU_FPU) && there->has_xfeatures_mask && missing)
		return fail_text(ENOTSUP, "this processor lacks components of the checkpoint's extended state (XSAVE): %#" PRIx64, missing);
	return caps & CK_CPU_INS ? compare_features(there, here) : 0;
}

int cpuinfo_check(struct image_dir *images, unsigned caps)
{
	struct processor here = { .name = "" };
	auto_image struct image *i = NULL;
	struct arena arena = { 0 };
	CpuinfoEntry *e = NULL;
	int r = image_open(images, IMG_CPUINFO, 0, &i);

	if (r == -ENOENT)
		return fail_text(ENOENT, "%s has no cpuinfo.img: the processor of the checkpoint is not known (cpuinfo dump, or dump --cpu-cap)",
				 images->path);
	if (r >= 0)
		r = image_read(i, &arena, &e);
	if (r == 0 || (r > 0 && e->n_x86_entry != 1))
		r = fail_text(EBADMSG, "image %s does not say what this kind of processor needs", image_name(i));
	ask(&here);
	if (r > 0)
		r = compare(e->x86_entry[0], &here.entry, caps);
	arena_done(&arena);
	return r < 0 ? r : 0;
}
#else
int cpuinfo_write(struct image_dir *images)
{
	(void)images;
	return fail_text(ENOTSUP, "cpuinfo: only processors of the x86 kind can be described");
}

int cpuinfo_check(struct image_dir *images, unsigned caps)
{
	(void)caps;
	return cpuinfo_write(images);
}
#endif

int ck_cpuinfo_dump(const char *images_dir)
{
	struct image_dir *images;
	int r = image_dir_create(images_dir, &images);

	if (r < 0)
		return r;
	r = cpuinfo_write(images);
	if (r >= 0)
		r = image_dir_publish(images);
	image_dir_free(images);
	return r;
}

int ck_cpuinfo_check(const char *images_dir, unsigned caps)
{
	struct image_dir *images;
	int r = image_dir_open(images_dir, &images);

	if (r < 0)
		return r;
	r = cpuinfo_check(images, caps);
	image_dir_free(images);
	return r;
}
