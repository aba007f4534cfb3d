/* SPDX-License-Identifier: MIT */
/* tests/sim/sim_shm.c - seam/shm.h in the simulator.
 *
 * Memory is real pages, so that each process has it at another address, whoever leaves it is
 * caught, and a process that is killed can be cut off: from then on its program, which the test
 * takes apart with the program's own calls, has a copy of its own.  What writes between its being
 * killed and being reaped is the world (sim_process_set_dying).
 */
#include "seam/shm.h"

#include <assert.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/sim/sim_net.h"
#include "tests/support/steady_alloc.h"

#define SIM_PAGE  ((size_t)4096)
#define SIM_SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

struct sim_memory {
    struct list node; /* sim.memories */
    uint8_t *world;   /* where the world has it mapped */
    size_t size;
    int file, seals;
    unsigned fds, uses; /* descriptors; mappings and guards */
};

/* A mapping of a process. */
struct sim_map {
    struct list node; /* sim_process.maps */
    struct sim_memory *mem;
    uint8_t *at; /* NULL: the program of a killed process has ended it */
    size_t size;
};

struct shm_process {
    struct list node; /* sim_process.watches, of the one that is watched */
    struct loop *loop;
    struct loop_watch *watch; /* NULL: it has ended */
    int bell;
    void (*gone)(void *user);
    void *user;
};

struct sim_guard {
    struct sim_memory *mem;
    size_t at, len;
    uint8_t *copy;
};

/* Pages. */

static void
must(bool ok)
{
    assert(ok);
    (void)ok;
}

/* Maps a file between two pages that nobody may touch.  file -1: memory of its own. */
static uint8_t *
pages_map(int file, size_t size)
{
    uint8_t *p = mmap(NULL, size + 2 * SIM_PAGE, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    void *at;

    must(p != MAP_FAILED);
    p += SIM_PAGE;
    at = mmap(p, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0);
    must(at == p);
    return p;
}

static void
pages_unmap(uint8_t *p, size_t size)
{
    must(munmap(p - SIM_PAGE, size + 2 * SIM_PAGE) == 0);
}

/* In the place of shared memory come pages with the same bytes that are not shared. */
static void
pages_cut_off(uint8_t *p, const uint8_t *world, size_t size)
{
    void *at =
        mmap(p, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

    must(at == p);
    memcpy(p, world, size);
}

/* Memory. */

static void
memory_put(struct sim_memory *m)
{
    if (m->fds + m->uses > 0)
        return;
    list_del(&m->node);
    pages_unmap(m->world, m->size);
    must(close(m->file) == 0);
    steady_free(m);
}

static void
memory_opened(void *of)
{
    ((struct sim_memory *)of)->fds++;
}

static void
memory_closed(void *of)
{
    struct sim_memory *m = of;

    m->fds--;
    memory_put(m);
}

static const struct sim_fd_ops memory_fd_ops = {.opened = memory_opened, .closed = memory_closed};

/* Whether this call is the one that is to fail.  Returns 0 or -errno. */
static int
shm_fails(struct sim_loop *l)
{
    int err = l->sim->shm_err;

    l->pub.stats.syscalls++;
    if (l->process->killed)
        return -EIO;
    if (err == 0 || l->sim->shm_good-- > 0)
        return 0;
    l->sim->shm_err = 0;
    return -err;
}

static bool
size_is_good(uint64_t size)
{
    return size > 0 && size % SIM_PAGE == 0 && size <= SHM_SIZE_MAX;
}

static struct sim_memory *
memory_new(struct sim *sim, size_t size, int seals)
{
    struct sim_memory *m = steady_calloc(1, sizeof(*m));

    m->size = size;
    m->seals = seals;
    m->file = memfd_create("lunette-sim", MFD_CLOEXEC);
    must(m->file >= 0 && ftruncate(m->file, (off_t)size) == 0);
    m->world = pages_map(m->file, size);
    list_push_back(&sim->memories, &m->node);
    return m;
}

static void *
map_new(struct sim_loop *l, struct sim_memory *mem)
{
    struct sim_map *m = steady_calloc(1, sizeof(*m));

    m->mem = mem;
    m->at = pages_map(mem->file, mem->size);
    m->size = mem->size;
    mem->uses++;
    list_push_back(&l->process->maps, &m->node);
    return m->at;
}

int
sim_memory_unsealed(struct loop *pub, size_t size, int seals, int *ret_fd)
{
    struct sim_loop *l = sim_loop_of(pub);

    *ret_fd = sim_fd_new(l->sim, &memory_fd_ops, memory_new(l->sim, size, seals), l->process);
    return 0;
}

static int
sim_shm_make(struct loop *pub, size_t size, int *ret_fd, void **ret_map)
{
    struct sim_loop *l = sim_loop_of(pub);
    struct sim_memory *m;
    int r;

    if (!size_is_good(size))
        return -EINVAL;
    r = shm_fails(l);
    if (r < 0)
        return r;
    if (!sim_fd_room(l->process))
        return -EMFILE;
    m = memory_new(l->sim, size, SIM_SEALS);
    *ret_fd = sim_fd_new(l->sim, &memory_fd_ops, m, l->process);
    *ret_map = map_new(l, m);
    return 0;
}

static int
sim_shm_map(struct loop *pub, int fd, size_t size, void **ret_map)
{
    struct sim_loop *l = sim_loop_of(pub);
    struct sim_fd *f = sim_fd_find(l->sim, fd);
    struct sim_memory *m;
    int r;

    if (!size_is_good(size))
        return -EINVAL;
    r = shm_fails(l);
    if (r < 0)
        return r;
    if (f == NULL || f->ops != &memory_fd_ops)
        return -EPERM;
    assert(f->owner == l->process);
    m = f->of;
    if ((m->seals & SIM_SEALS) != SIM_SEALS)
        return -EPERM;
    if (m->size != size)
        return -EINVAL;
    *ret_map = map_new(l, m);
    return 0;
}

/* Ends a mapping that neither the program nor what is left of the process has any more. */
static void
map_put(struct sim_map *m)
{
    if (m->at != NULL || m->mem != NULL)
        return;
    list_del(&m->node);
    steady_free(m);
}

static void
map_leave_memory(struct sim_map *m)
{
    struct sim_memory *mem = m->mem;

    m->mem = NULL;
    mem->uses--;
    memory_put(mem);
}

static void
sim_shm_unmap(struct loop *pub, void *map, size_t size)
{
    struct sim_process *p = sim_loop_of(pub)->process;

    LIST_FOREACH (n, &p->maps) {
        struct sim_map *m = container_of(n, struct sim_map, node);

        if (m->at != map)
            continue;
        assert(m->size == size);
        pages_unmap(m->at, size);
        m->at = NULL;
        if (!p->killed)
            map_leave_memory(m);
        map_put(m);
        return;
    }
    assert(false); /* it has no such mapping */
}

void
sim_shm_cut_off(struct sim_process *p)
{
    LIST_FOREACH (n, &p->maps) {
        const struct sim_map *m = container_of(n, struct sim_map, node);

        pages_cut_off(m->at, m->mem->world, m->mem->size);
    }
}

void
sim_shm_last(struct sim_process *p)
{
    if (p->last == NULL)
        return;
    LIST_FOREACH (n, &p->maps) {
        const struct sim_map *m = container_of(n, struct sim_map, node);

        p->last(p->last_user, m->mem->world, m->mem->size);
    }
}

void
sim_shm_fail(struct sim *sim, uint32_t after, int err)
{
    sim->shm_good = after;
    sim->shm_err = err;
}

/* Guards. */

struct sim_guard *
sim_guard(struct loop *l, const void *p, size_t len)
{
    const uint8_t *at = p;

    LIST_FOREACH (n, &sim_loop_of(l)->process->maps) {
        struct sim_map *m = container_of(n, struct sim_map, node);
        struct sim_guard *g;

        if (m->at == NULL || m->mem == NULL || at < m->at || at >= m->at + m->mem->size)
            continue;
        assert(len <= (size_t)(m->at + m->mem->size - at));
        g = steady_calloc(1, sizeof(*g));
        *g = (struct sim_guard){.mem = m->mem, .at = (size_t)(at - m->at), .len = len};
        g->copy = steady_calloc(1, len);
        memcpy(g->copy, m->mem->world + g->at, len);
        m->mem->uses++;
        return g;
    }
    assert(false); /* it is in no mapping of this process */
    return NULL;
}

bool
sim_guard_holds(const struct sim_guard *g)
{
    return memcmp(g->copy, g->mem->world + g->at, g->len) == 0;
}

void
sim_unguard(struct sim_guard *g)
{
    g->mem->uses--;
    memory_put(g->mem);
    steady_free(g->copy);
    steady_free(g);
}

/* Bells. */

static int
sim_shm_bell_make(struct loop *pub, int *ret_fd)
{
    struct sim_loop *l = sim_loop_of(pub);
    int r = shm_fails(l);

    if (r < 0)
        return r;
    if (!sim_fd_room(l->process))
        return -EMFILE;
    *ret_fd = sim_bell_of(l->sim, l->process);
    return 0;
}

/* Half of those who wait are woken at once, the others when their process has had time to be. */
static void
ring(struct sim_loop *l, int fd)
{
    struct sim *sim = l->sim;

    l->pub.stats.syscalls++;
    sim_note(sim, NOTE_RING, (uint64_t)fd, 0);
    sim_bell_wake(sim, fd, sim_below(sim, 2) == 0 ? 0 : sim_delay_ns(sim));
}

static int
sim_shm_bell_check(struct loop *pub, int fd)
{
    struct sim_loop *l = sim_loop_of(pub);
    int r = shm_fails(l);

    if (r < 0)
        return r;
    if (!sim_is_bell(l->sim, fd))
        return -EINVAL;
    assert(sim_fd_find(l->sim, fd)->owner == l->process);
    ring(l, fd);
    return 0;
}

static void
sim_shm_bell_ring(struct loop *pub, int fd)
{
    struct sim_loop *l = sim_loop_of(pub);

    if (l->process->killed)
        return;
    assert(sim_is_bell(l->sim, fd) && sim_fd_find(l->sim, fd)->owner == l->process);
    ring(l, fd);
}

static void
sim_shm_bell_clear(struct loop *pub, int fd)
{
    struct sim_loop *l = sim_loop_of(pub);

    if (l->process->killed)
        return;
    l->pub.stats.syscalls++;
    (void)sim_bell_read(l->sim, fd);
}

/* Processes. */

static void
watch_end(struct shm_process *w)
{
    if (w->watch == NULL)
        return;
    loop_unwatch(w->loop, w->watch);
    sim_bell_free(sim_of(w->loop), w->bell);
    w->watch = NULL;
}

static void
watch_gone(void *user)
{
    struct shm_process *w = user;

    watch_end(w);
    w->gone(w->user); /* which may end the watch */
}

static int
sim_shm_process_watch(struct loop *pub, struct stream *s, void (*gone)(void *user), void *user,
                      struct shm_process **ret)
{
    struct sim_loop *l = sim_loop_of(pub);
    struct end *e = sim_end_of(s);
    struct sim_process *of;
    struct shm_process *w;
    int r = shm_fails(l);

    assert(gone != NULL && s->loop == pub);
    if (r < 0)
        return r;
    if (e == NULL || !is_local(&e->conn->server) || e->state != END_OPEN)
        return -EOPNOTSUPP;
    if (!sim_fd_room(l->process))
        return -EMFILE;
    of = peer_of(e)->made;
    if (of->reaped)
        return -ESRCH;
    w = steady_calloc(1, sizeof(*w));
    *w = (struct shm_process){.loop = pub, .bell = sim_bell(l->sim), .gone = gone, .user = user};
    r = loop_watch(pub, w->bell, watch_gone, w, &w->watch);
    must(r == 0);
    list_push_back(&of->watches, &w->node);
    *ret = w;
    return 0;
}

static void
sim_shm_process_unwatch(struct shm_process *w)
{
    watch_end(w);
    list_del(&w->node);
    steady_free(w);
}

void
sim_shm_reaped(struct sim_process *p)
{
    LIST_FOREACH_SAFE (n, &p->maps) {
        struct sim_map *m = container_of(n, struct sim_map, node);

        map_leave_memory(m);
        map_put(m);
    }
    LIST_FOREACH (n, &p->watches) {
        struct shm_process *w = container_of(n, struct shm_process, node);

        sim_bell_wake(p->sim, w->bell, sim_delay_ns(p->sim));
    }
}

static void
watches_drop(struct sim_process *of)
{
    LIST_FOREACH_SAFE (n, &of->watches) {
        struct shm_process *w = container_of(n, struct shm_process, node);

        if (sim_process_killed(w->loop))
            sim_shm_process_unwatch(w);
    }
}

void
sim_shm_drop_dead(struct sim *sim)
{
    LIST_FOREACH (n, &sim->processes) {
        struct sim_process *p = container_of(n, struct sim_process, node);

        watches_drop(p);
        if (!p->killed)
            continue;
        if (!p->reaped) { /* the world ends before */
            p->reaped = true;
            sim_shm_reaped(p);
        }
        LIST_FOREACH_SAFE (i, &p->maps) {
            struct sim_map *m = container_of(i, struct sim_map, node);

            pages_unmap(m->at, m->size);
            m->at = NULL;
            map_put(m);
        }
    }
}

void
sim_shm_free(struct sim *sim)
{
    LIST_FOREACH (n, &sim->processes) {
        const struct sim_process *p = container_of(n, struct sim_process, node);

        assert(list_empty(&p->maps)); /* a mapping was forgotten */
    }
    assert(list_empty(&sim->memories)); /* a descriptor or a guard was */
}

static int
sim_shm_dup(struct loop *pub, int fd, int *ret_fd)
{
    struct sim_loop *l = sim_loop_of(pub);
    struct sim_fd *f = sim_fd_find(l->sim, fd);

    if (l->process->killed)
        return -EIO;
    assert(f != NULL && f->owner == l->process);
    if (!sim_fd_room(l->process))
        return -EMFILE;
    *ret_fd = sim_fd_new(l->sim, f->ops, f->of, l->process);
    return 0;
}

const struct shm_ops sim_shm_ops = {
    .make = sim_shm_make,
    .map = sim_shm_map,
    .unmap = sim_shm_unmap,
    .bell_make = sim_shm_bell_make,
    .bell_check = sim_shm_bell_check,
    .bell_ring = sim_shm_bell_ring,
    .bell_clear = sim_shm_bell_clear,
    .process_watch = sim_shm_process_watch,
    .process_unwatch = sim_shm_process_unwatch,
    .dup = sim_shm_dup,
    .bell_check_wait = sim_shm_bell_check, /* all bells are silent when they are cleared */
};
