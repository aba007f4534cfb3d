/* SPDX-License-Identifier: MIT */
/* cmd/iscsi-engine/confine.c - a filter of seccomp, for all threads.
 *
 * It names what is refused and not what is allowed.  A list of what is allowed would have to follow
 * the C library, io_uring, name services and the libraries of RDMA, and an engine that fails at an
 * unexpected moment helps nobody.  Threads may be made, processes may not: clone tells in its
 * flags, and clone3, which has them in memory, is not there at all, so that the C library takes
 * clone.
 */
#include "cmd/iscsi-engine/confine.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__) && defined(__LP64__)
#define CONFINE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define CONFINE_ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef CONFINE_ARCH

#define X32_CALLS 0x40000000u /* x86-64: numbers from here on are those of another ABI */

static const uint32_t refused[] = {
#ifdef __NR_fork /* arm64 has neither */
    __NR_fork,
    __NR_vfork,
#endif
    __NR_execve,
    __NR_execveat,
    __NR_ptrace,
    __NR_process_vm_readv,
    __NR_process_vm_writev,
    __NR_kcmp,
    __NR_setns,
    __NR_unshare,
    __NR_mount,
    __NR_umount2,
    __NR_move_mount,
    __NR_fsopen,
    __NR_fsmount,
    __NR_open_tree,
    __NR_pivot_root,
    __NR_chroot,
    __NR_swapon,
    __NR_swapoff,
    __NR_reboot,
    __NR_kexec_load,
    __NR_kexec_file_load,
    __NR_init_module,
    __NR_finit_module,
    __NR_delete_module,
    __NR_bpf,
    __NR_perf_event_open,
    __NR_userfaultfd,
    __NR_keyctl,
    __NR_add_key,
    __NR_request_key,
    __NR_open_by_handle_at,
    __NR_acct,
    __NR_quotactl,
    __NR_settimeofday,
    __NR_clock_settime,
    __NR_sethostname,
    __NR_setdomainname,
    __NR_setuid,
    __NR_setgid,
    __NR_setreuid,
    __NR_setregid,
    __NR_setresuid,
    __NR_setresgid,
    __NR_setgroups,
    __NR_capset,
    __NR_personality,
    __NR_mknodat,
    __NR_fchownat,
};

#define CONFINE_CALLS (sizeof(refused) / sizeof(refused[0]))
#define CONFINE_ROOM  (CONFINE_CALLS + 16) /* instructions */
#define REFUSE        (SECCOMP_RET_ERRNO | EPERM)

static struct sock_filter
confine_load(uint32_t at)
{
    return (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at);
}

static struct sock_filter
confine_answer(uint32_t what)
{
    return (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, what);
}

/* Skips `no` instructions where the word is not k, and else none. */
static struct sock_filter
unless_is(uint32_t k, uint8_t no)
{
    return (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, k, 0, no);
}

static uint16_t
confine_program(struct sock_filter *f)
{
    uint16_t n = 0;

    f[n++] = confine_load(offsetof(struct seccomp_data, arch));
    f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CONFINE_ARCH, 1, 0);
    f[n++] = confine_answer(SECCOMP_RET_KILL_PROCESS);
    f[n++] = confine_load(offsetof(struct seccomp_data, nr));
    f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_CALLS, 0, 1);
    f[n++] = confine_answer(REFUSE);
    f[n++] = unless_is(__NR_clone3, 1);
    f[n++] = confine_answer(SECCOMP_RET_ERRNO | ENOSYS);
    for (size_t i = 0; i < CONFINE_CALLS; i++)
        f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refused[i],
                                              (uint8_t)(CONFINE_CALLS - i - 1 + 4), 0);
    f[n++] = unless_is(__NR_clone, 2);
    f[n++] = confine_load(offsetof(struct seccomp_data, args[0])); /* its low half: little endian */
    f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1);
    f[n++] = confine_answer(SECCOMP_RET_ALLOW);
    f[n++] = confine_answer(REFUSE);
    return n;
}

int
engine_confine(void)
{
    struct sock_filter filter[CONFINE_ROOM];
    struct sock_fprog prog = {.len = confine_program(filter), .filter = filter};
    long r;

    _Static_assert(CONFINE_CALLS + 4 < 256, "a jump of the filter has one byte");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    r = syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog);
    if (r == 0)
        return 0;
    return r < 0 && errno != ENOSYS && errno != EINVAL ? -errno : -EOPNOTSUPP;
}

#else

int
engine_confine(void)
{
    return -EOPNOTSUPP;
}

#endif
