/* SPDX-License-Identifier: MIT */
#include "cmd/common/instance.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INSTANCE_NAME_MAX 64
#define NODES             "/var/lib/iscsi/nodes"
#define INSTANCE_SHELL_SAFE                                                                        \
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+,:@%="

static bool
instance_name_ok(const char *name)
{
    size_t n = strlen(name);

    return n > 0 && n <= INSTANCE_NAME_MAX && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

static int put_path(char *to, struct lunette_error *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int
put_path(char *to, struct lunette_error *err, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(to, INSTANCE_PATH_MAX, fmt, ap);
    va_end(ap);
    if (n < 0 || n >= INSTANCE_PATH_MAX)
        return lunette_fail(err, -ENAMETOOLONG, LUNETTE_DOM_USAGE, 0,
                            "a path of the instance is too long: %.60s...", to);
    return 0;
}

/* A folder that the XDG Base Directory Specification names: of the variable, which must be
 * absolute, or below the home.  NULL: there is neither. */
static const char *
xdg_folder(const char *variable, const char *below_home, char *buf)
{
    const char *dir = getenv(variable), *home = getenv("HOME");
    const struct passwd *pw;

    if (dir != NULL && dir[0] == '/')
        return dir;
    if (below_home == NULL)
        return NULL;
    if (home == NULL || home[0] != '/') {
        pw = getpwuid(geteuid());
        home = pw != NULL ? pw->pw_dir : NULL;
    }
    if (home == NULL || put_path(buf, NULL, "%s/%s", home, below_home) < 0)
        return NULL;
    return buf;
}

/* Where programs are without the variable, as those of cron, the daemons of the same user are to be
 * found all the same.  NULL: there is no such folder of the user's. */
static const char *
xdg_run_folder(char *buf)
{
    const char *run = xdg_folder("XDG_RUNTIME_DIR", NULL, NULL);
    struct stat st;

    if (run != NULL)
        return run;
    if (put_path(buf, NULL, "/run/user/%lu", (unsigned long)geteuid()) < 0 || stat(buf, &st) < 0 ||
        !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
        return NULL;
    return buf;
}

static int
user_instance(const char *name, struct instance *ret, struct lunette_error *err)
{
    char conf_buf[INSTANCE_PATH_MAX], state_buf[INSTANCE_PATH_MAX], run_buf[INSTANCE_PATH_MAX];
    const char *conf = xdg_folder("XDG_CONFIG_HOME", ".config", conf_buf);
    const char *state = xdg_folder("XDG_STATE_HOME", ".local/state", state_buf);
    const char *run = xdg_run_folder(run_buf);
    int r;

    if (name == NULL)
        name = "default";
    if (conf == NULL || state == NULL)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "this user has no home; say with --root DIR where the records are");
    r = put_path(ret->conf, err, "%s/lunette/%s", conf, name);
    if (r == 0)
        r = put_path(ret->records, err, "%s/lunette/%s", state, name);
    if (r == 0 && run != NULL)
        return put_path(ret->run, err, "%s/lunette/%s", run, name);
    return r == 0 ? put_path(ret->run, err, "%s/lunette/%s/run", state, name) : r;
}

static int
system_instance(const char *name, struct instance *ret, struct lunette_error *err)
{
    int r;

    if (name == NULL) {
        r = put_path(ret->conf, err, "/etc/iscsi");
        if (r == 0)
            r = put_path(ret->records, err, "%s",
                         access(NODES, F_OK) == 0 ? "/var/lib/iscsi" : "/etc/iscsi");
        return r == 0 ? put_path(ret->run, err, "/run/lunette") : r;
    }
    r = put_path(ret->conf, err, "/etc/lunette/%s", name);
    if (r == 0)
        r = put_path(ret->records, err, "/var/lib/lunette/%s", name);
    return r == 0 ? put_path(ret->run, err, "/run/lunette/%s", name) : r;
}

int
instance_find(const char *root, const char *name, struct instance *ret, struct lunette_error *err)
{
    int r;

    memset(ret, 0, sizeof(*ret));
    if (root == NULL && name == NULL) {
        root = getenv("LUNETTE_ROOT");
        name = getenv("LUNETTE_INSTANCE");
        root = root != NULL && root[0] != '\0' ? root : NULL;
        name = name != NULL && name[0] != '\0' ? name : NULL;
    }
    if (root != NULL && name != NULL)
        return lunette_fail(
            err, -EINVAL, LUNETTE_DOM_USAGE, 0,
            "--root and --instance both say which daemon is meant; give one of them");
    if (root != NULL && root[0] == '\0')
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "--root wants a folder");
    if (name != NULL && !instance_name_ok(name))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "--instance wants a name of 1 to %d letters, digits, dots, hyphens and "
                            "underscores that does not begin with a dot",
                            INSTANCE_NAME_MAX);
    ret->which[0] = root != NULL ? "--root" : name != NULL ? "--instance" : NULL;
    ret->which[1] = root != NULL ? root : name;
    if (root == NULL)
        return geteuid() == 0 ? system_instance(name, ret, err) : user_instance(name, ret, err);
    r = put_path(ret->conf, err, "%s", root);
    if (r == 0)
        r = put_path(ret->records, err, "%s", root);
    return r == 0 ? put_path(ret->run, err, "%s/run", root) : r;
}

const char *
instance_options(const struct instance *at, char *buf)
{
    const char *value = at->which[1];
    char *p = buf;

    buf[0] = '\0';
    if (at->which[0] == NULL || strlen(value) >= INSTANCE_PATH_MAX)
        return buf;
    p += snprintf(buf, 32, " %s ", at->which[0]);
    if (value[0] != '\0' && value[strspn(value, INSTANCE_SHELL_SAFE)] == '\0') {
        (void)strcpy(p, value);
        return buf;
    }
    *p++ = '\'';
    for (; *value != '\0'; value++) {
        if (*value == '\'') {
            memcpy(p, "'\\'", 3);
            p += 3;
        }
        *p++ = *value;
    }
    memcpy(p, "'", 2);
    return buf;
}
