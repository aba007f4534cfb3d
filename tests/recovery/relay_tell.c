/* SPDX-License-Identifier: MIT */
/* tests/recovery/relay_tell.c - the relay's control socket: commands, answers, events. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/recovery/relay.h"

/* What a command may be told. */
enum { HAS_HOW = 1, HAS_ENDS = 2, HAS_WAY = 4, HAS_NUMBER = 8, HAS_TEXT = 16 };

struct args {
    unsigned given;
    enum relay_how how;
    unsigned ends, ways;
    double number;
    uint64_t after, at, gap, lose; /* RELAY_NEVER: not given */
    bool each, header, oldest;
    enum relay_deed deed;
    const char *text;
};

/* ---- what commands do ----------------------------------------------------------------------- */

#define FOR_WAYS(rules, r, a)                                                                      \
    for (struct relay_rules *rules = (r)->rules; rules < (r)->rules + RELAY_ENDS; rules++)         \
        if ((a)->ways & 1u << (rules - (r)->rules))

static const char *
do_cut(struct relay *r, const struct args *a)
{
    if (a->oldest) {
        relay_cut_oldest(r, a->how, a->ends);
        return NULL;
    }
    if (a->after == RELAY_NEVER) {
        relay_cut_all(r, a->how, a->ends);
        return NULL;
    }
    r->how = a->how;
    r->ends = a->ends;
    FOR_WAYS(rules, r, a)
    *(a->each ? &rules->cut_each_in : &rules->cut_in) = a->after;
    return NULL;
}

static const char *
do_every(struct relay *r, const struct args *a)
{
    r->how = a->how;
    r->ends = a->ends;
    r->every_ns = (uint64_t)(a->number * 1e6);
    r->next_cut_ns = r->every_ns ? r->now_ns + r->every_ns : RELAY_NEVER;
    return NULL;
}

static const char *
do_delay(struct relay *r, const struct args *a)
{
    FOR_WAYS(rules, r, a)
    rules->delay_ns = (uint64_t)(a->number * 1e6);
    return NULL;
}

static const char *
do_split(struct relay *r, const struct args *a)
{
    FOR_WAYS(rules, r, a)
    {
        rules->split = (size_t)a->number;
        rules->gap_ns = a->gap == RELAY_NEVER || rules->split == 0 ? 0 : a->gap * 1000;
    }
    return NULL;
}

static const char *
do_corrupt(struct relay *r, const struct args *a)
{
    if (a->at == RELAY_NEVER)
        return "want at=N";
    r->rules[a->ways == 1u << RELAY_INITIATOR ? RELAY_INITIATOR : RELAY_TARGET].corrupt_in = a->at;
    return NULL;
}

static const char *
do_spoil(struct relay *r, const struct args *a)
{
    FOR_WAYS(rules, r, a)
    {
        rules->spoil = (unsigned)a->number;
        rules->lose = a->lose == RELAY_NEVER ? 0 : (unsigned)a->lose;
        rules->header_digest = a->header;
        rules->followed = true;
    }
    return NULL;
}

static const char *
do_next(struct relay *r, const struct args *a)
{
    static const struct {
        const char *name;
        enum relay_kind kind;
        enum relay_end to;
    } kinds[] = {
        {"command", RELAY_COMMAND, RELAY_TARGET},
        {"data-out", RELAY_DATA_OUT, RELAY_TARGET},
        {"data-in", RELAY_DATA_IN, RELAY_INITIATOR},
        {"response", RELAY_RESPONSE, RELAY_INITIATOR},
    };
    size_t i = 0;

    while (i < sizeof(kinds) / sizeof(*kinds) && strcmp(kinds[i].name, a->text) != 0)
        i++;
    if (i == sizeof(kinds) / sizeof(*kinds) || a->deed == RELAY_NOTHING)
        return "want spoil, lose or cut, and a kind of PDU";
    if (!r->rules[kinds[i].to].followed)
        return "nothing is known of PDUs that way: want spoil before";
    r->next = a->deed;
    r->next_kind = kinds[i].kind;
    if (a->deed == RELAY_CUT) {
        r->how = a->how;
        r->ends = a->ends;
    }
    return NULL;
}

static const char *
do_stall(struct relay *r, const struct args *a)
{
    FOR_WAYS(rules, r, a)
    rules->stalled = true;
    return NULL;
}

static const char *
do_go(struct relay *r, const struct args *a)
{
    FOR_WAYS(rules, r, a)
    rules->stalled = false;
    return NULL;
}

static const char *
do_hole(struct relay *r, const struct args *a)
{
    bool on = a->text && strcmp(a->text, "on") == 0;

    if (!on && (a->text == NULL || strcmp(a->text, "off") != 0))
        return "want on or off";
    r->hole = on;
    for (struct relay_link *l = r->links; on && l; l = l->next)
        l->holed = l->holed || l->state[RELAY_INITIATOR] == RELAY_OPEN;
    return NULL;
}

static const char *
do_refuse(struct relay *r, const struct args *a)
{
    relay_refuse(r, (uint64_t)a->number);
    return NULL;
}

static const char *
do_accept(struct relay *r, const struct args *a)
{
    (void)a;
    relay_listen(r);
    return NULL;
}

static const char *
do_target(struct relay *r, const struct args *a)
{
    return relay_address(a->text ? a->text : "", &r->target, &r->target_len);
}

static const char *
do_calm(struct relay *r, const struct args *a)
{
    (void)a;
    for (int i = 0; i < RELAY_ENDS; i++)
        r->rules[i] = (struct relay_rules){
            .corrupt_in = RELAY_NEVER, .cut_in = RELAY_NEVER, .cut_each_in = RELAY_NEVER};
    for (struct relay_link *l = r->links; l; l = l->next)
        l->flow[RELAY_INITIATOR].left = l->flow[RELAY_TARGET].left = RELAY_NEVER;
    r->next_cut_ns = RELAY_NEVER;
    r->next = RELAY_NOTHING;
    r->hole = false;
    relay_listen(r);
    return NULL;
}

static const char *
do_quit(struct relay *r, const struct args *a)
{
    (void)a;
    r->quit = true;
    return NULL;
}

static const struct command {
    const char *name;
    unsigned takes, wants;
    const char *(*run)(struct relay *r, const struct args *a);
} commands[] = {
    {"cut", HAS_HOW | HAS_ENDS | HAS_WAY, 0, do_cut},
    {"every", HAS_NUMBER | HAS_HOW | HAS_ENDS, HAS_NUMBER, do_every},
    {"delay", HAS_NUMBER | HAS_WAY, HAS_NUMBER, do_delay},
    {"split", HAS_NUMBER | HAS_WAY, HAS_NUMBER, do_split},
    {"corrupt", HAS_WAY, 0, do_corrupt},
    {"spoil", HAS_NUMBER | HAS_WAY, HAS_NUMBER, do_spoil},
    {"next", HAS_HOW | HAS_ENDS | HAS_TEXT, HAS_TEXT, do_next},
    {"stall", HAS_WAY, 0, do_stall},
    {"go", HAS_WAY, 0, do_go},
    {"hole", HAS_TEXT, HAS_TEXT, do_hole},
    {"refuse", HAS_NUMBER, 0, do_refuse},
    {"accept", 0, 0, do_accept},
    {"target", HAS_TEXT, HAS_TEXT, do_target},
    {"calm", 0, 0, do_calm},
    {"quit", 0, 0, do_quit},
};

/* ---- reading them --------------------------------------------------------------------------- */

static bool
count_of(const char *word, const char *key, uint64_t *ret)
{
    size_t n = strlen(key);
    char *end;

    if (strncmp(word, key, n) != 0 || word[n] < '0' || word[n] > '9')
        return false;
    *ret = strtoull(word + n, &end, 10);
    return *end == '\0';
}

/* "both" names ends and ways alike. */
static bool
end_of(const struct command *c, struct args *a, const char *word)
{
    static const struct {
        const char *word;
        unsigned bits;
    } words[] = {
        {"both", RELAY_BOTH},
        {"initiator", 1u << RELAY_INITIATOR},
        {"target", 1u << RELAY_TARGET},
    };
    bool way = strncmp(word, "to-", 3) == 0;

    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (strcmp(word + (way ? 3 : 0), words[i].word) != 0)
            continue;
        if (c->takes & HAS_ENDS && !way)
            a->ends = words[i].bits;
        else if (c->takes & HAS_WAY && (way || i == 0))
            a->ways = words[i].bits;
        else
            return false;
        return true;
    }
    return false;
}

static bool
deed_of(struct args *a, const char *word)
{
    static const char *const deeds[] = {
        [RELAY_SPOIL] = "spoil", [RELAY_LOSE] = "lose", [RELAY_CUT] = "cut"};

    for (enum relay_deed d = RELAY_SPOIL; d <= RELAY_CUT; d++) {
        if (a->deed == RELAY_NOTHING && strcmp(word, deeds[d]) == 0) {
            a->deed = d;
            return true;
        }
    }
    return false;
}

static bool
word_of(const struct command *c, struct args *a, const char *word)
{
    char *end;

    if (c->takes & HAS_HOW && (strcmp(word, "rst") == 0 || strcmp(word, "fin") == 0)) {
        a->how = word[0] == 'r' ? RELAY_RST : RELAY_FIN;
        return true;
    }
    if (c->run == do_cut && strcmp(word, "each") == 0)
        return a->each = true;
    if (c->run == do_cut && strcmp(word, "oldest") == 0)
        return a->oldest = true;
    if (c->run == do_spoil && strcmp(word, "header") == 0)
        return a->header = true;
    if (c->run == do_next && deed_of(a, word))
        return true;
    if ((c->run == do_cut && count_of(word, "after=", &a->after)) ||
        (c->run == do_corrupt && count_of(word, "at=", &a->at)) ||
        (c->run == do_spoil && count_of(word, "lose=", &a->lose)) ||
        (c->run == do_split && count_of(word, "gap=", &a->gap)) || end_of(c, a, word))
        return true;
    if (c->takes & HAS_TEXT && !(a->given & HAS_TEXT)) {
        a->text = word;
        a->given |= HAS_TEXT;
        return true;
    }
    if (!(c->takes & HAS_NUMBER) || a->given & HAS_NUMBER || word[0] < '0' || word[0] > '9')
        return false;
    a->number = strtod(word, &end);
    a->given |= HAS_NUMBER;
    return *end == '\0' && a->number < 1e9;
}

static const char *
command_run(struct relay *r, char *line)
{
    struct args a = {.how = RELAY_RST,
                     .ends = RELAY_BOTH,
                     .ways = RELAY_BOTH,
                     .after = RELAY_NEVER,
                     .at = RELAY_NEVER,
                     .gap = RELAY_NEVER,
                     .lose = RELAY_NEVER};
    char *save = NULL, *word = strtok_r(line, " \t", &save);
    const struct command *c = commands;

    while (word && c < commands + sizeof(commands) / sizeof(*commands) &&
           strcmp(c->name, word) != 0)
        c++;
    if (word == NULL || c == commands + sizeof(commands) / sizeof(*commands))
        return "no such command";
    while ((word = strtok_r(NULL, " \t", &save)))
        if (!word_of(c, &a, word))
            return "this command does not take that";
    if ((a.given & c->wants) != c->wants)
        return "this command wants more";
    return c->run(r, &a);
}

/* ---- those who tell -------------------------------------------------------------------------- */

/* One who does not read what he asked for is let go. */
static void
user_says(struct relay_user *u, const char *line)
{
    size_t n = strlen(line);

    if (u->fd >= 0 && send(u->fd, line, n, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)n) {
        close(u->fd);
        u->fd = -1;
    }
}

void
relay_event(struct relay *r, const char *format, ...)
{
    char line[RELAY_LINE_MAX];
    va_list ap;
    int n = snprintf(line, sizeof(line), "event ");

    va_start(ap, format);
    n += vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, ap);
    va_end(ap);
    memcpy(line + n, "\n", 2);
    for (int i = 0; i < RELAY_USERS_MAX; i++)
        if (r->users[i].events)
            user_says(&r->users[i], line);
}

static void
user_stats(const struct relay *r, struct relay_user *u)
{
    const struct relay_stats *s = &r->stats;
    char line[RELAY_LINE_MAX];
    unsigned open = 0;

    for (const struct relay_link *l = r->links; l; l = l->next)
        open += l->state[RELAY_INITIATOR] == RELAY_OPEN && l->state[RELAY_TARGET] == RELAY_OPEN;
    snprintf(line, sizeof(line),
             "ok {\"links\": %ju, \"open\": %u, \"cuts\": %ju, \"unreached\": %ju, "
             "\"corrupted\": %ju, \"dropped\": %ju, \"spoilt\": %ju, \"lost\": %ju, "
             "\"awaited\": %d, "
             "\"to_target\": %ju, \"to_initiator\": %ju}\n",
             (uintmax_t)s->links, open, (uintmax_t)s->cuts, (uintmax_t)s->unreached,
             (uintmax_t)s->corrupted, (uintmax_t)s->dropped, (uintmax_t)s->spoilt,
             (uintmax_t)s->lost, r->next != RELAY_NOTHING, (uintmax_t)s->bytes[RELAY_TARGET],
             (uintmax_t)s->bytes[RELAY_INITIATOR]);
    user_says(u, line);
}

static void
user_line(struct relay *r, struct relay_user *u)
{
    char answer[RELAY_LINE_MAX];
    const char *wrong;

    if (strcmp(u->line, "stats") == 0) {
        user_stats(r, u);
        return;
    }
    if (strcmp(u->line, "events") == 0) {
        u->events = true;
        user_says(u, "ok\n");
        return;
    }
    wrong = command_run(r, u->line);
    snprintf(answer, sizeof(answer), wrong ? "error: %s\n" : "ok\n", wrong);
    user_says(u, answer);
}

static void
user_read(struct relay *r, struct relay_user *u)
{
    ssize_t n = recv(u->fd, u->line + u->len, sizeof(u->line) - u->len - 1, MSG_DONTWAIT);
    char *end;

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        close(u->fd);
        u->fd = -1;
        return;
    }
    u->len += (size_t)n;
    u->line[u->len] = '\0';
    while (u->fd >= 0 && (end = strchr(u->line, '\n'))) {
        size_t used = (size_t)(end + 1 - u->line);

        *end = '\0';
        user_line(r, u);
        memmove(u->line, u->line + used, u->len - used + 1);
        u->len -= used;
    }
    if (u->len == sizeof(u->line) - 1) { /* no line is so long */
        close(u->fd);
        u->fd = -1;
    }
}

void
relay_users_prepare(struct relay *r)
{
    relay_poll(r, r->control, POLLIN);
    for (int i = 0; i < RELAY_USERS_MAX; i++)
        relay_poll(r, r->users[i].fd, POLLIN);
}

/* They follow the listener in the list of what was polled. */
void
relay_users_run(struct relay *r)
{
    const struct pollfd *p = r->polled + 1;

    for (int i = 0; i < RELAY_USERS_MAX; i++)
        if (r->users[i].fd >= 0 && p[1 + i].revents != 0)
            user_read(r, &r->users[i]);
    for (int i = 0; p[0].revents != 0 && i < RELAY_USERS_MAX; i++) {
        if (r->users[i].fd >= 0)
            continue;
        r->users[i] = (struct relay_user){.fd = accept4(r->control, NULL, NULL, SOCK_CLOEXEC)};
        return;
    }
}

int
relay_tell(const char *path, int argc, char **argv)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FILE *f;
    char line[RELAY_LINE_MAX] = "";
    size_t n = 0;

    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
        relay_die(path);
    for (int i = 0; i < argc && n < sizeof(line); i++)
        n += (size_t)snprintf(line + n, sizeof(line) - n, "%s%c", argv[i],
                              i + 1 < argc ? ' ' : '\n');
    f = fdopen(fd, "r");
    if (n >= sizeof(line) || f == NULL || send(fd, line, n, MSG_NOSIGNAL) != (ssize_t)n ||
        fgets(line, sizeof(line), f) == NULL)
        relay_die("no answer");
    if (strncmp(line, "ok", 2) != 0) {
        fprintf(stderr, "relay: %s", line);
        return 1;
    }
    if (line[2] == ' ')
        fputs(line + 3, stdout);
    return 0;
}
