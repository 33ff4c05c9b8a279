/* Keeps a XenStore daemon off the machine's own folders: preloaded beside hypervisor.c, it moves what the daemon opens
 * below /run/xenstored, where oxenstored always has its socket, into the folder that XENSTORED_RUNDIR names, and makes
 * up the two files of a kernel that runs on Xen.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static const char *const fixed[] = {"/var/run/xenstored", "/run/xenstored"};

/* Returns where `path` is to be found; `moved` has room for the answer. */
static const char *move(const char *path, char *moved, size_t size)
{
	const char *folder = getenv("XENSTORED_RUNDIR");

	for (size_t i = 0; folder && i < sizeof fixed / sizeof *fixed; i++) {
		size_t length = strlen(fixed[i]);

		if (!strncmp(path, fixed[i], length) && (path[length] == '/' || path[length] == '\0')) {
			snprintf(moved, size, "%s%s", folder, path + length);
			return moved;
		}
	}
	return path;
}

static int memory(const char *content, size_t length)
{
	int file = memfd_create("xen", MFD_CLOEXEC);

	if (file >= 0 && (write(file, content, length) != (ssize_t)length || lseek(file, 0, SEEK_SET) != 0)) {
		close(file);
		return -1;
	}
	return file;
}

static int open_moved(int (*next)(const char *, int, ...), const char *path, int flags, mode_t mode)
{
	static const char page[4096];
	char moved[512];

	if (!strcmp(path, "/proc/xen/xsd_kva"))
		return memory(page, sizeof page); /* the page that domain 0 shares with its daemon */
	if (!strcmp(path, "/proc/xen/xsd_port"))
		return memory("2", 1);
	return next(move(path, moved, sizeof moved), flags, mode);
}

static mode_t mode_of(int flags, va_list rest)
{
	return flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
	va_list rest;
	mode_t mode;

	va_start(rest, flags);
	mode = mode_of(flags, rest);
	va_end(rest);
	return open_moved(NEXT(open), path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	va_list rest;
	mode_t mode;

	va_start(rest, flags);
	mode = mode_of(flags, rest);
	va_end(rest);
	return open_moved(NEXT(open64), path, flags, mode);
}

int bind(int descriptor, const struct sockaddr *address, socklen_t length)
{
	struct sockaddr_un moved = {.sun_family = AF_UNIX};

	if (address->sa_family != AF_UNIX)
		return NEXT(bind)(descriptor, address, length);
	move(((const struct sockaddr_un *)address)->sun_path, moved.sun_path, sizeof moved.sun_path);
	if (!moved.sun_path[0])
		return NEXT(bind)(descriptor, address, length);
	return NEXT(bind)(descriptor, (struct sockaddr *)&moved, sizeof moved);
}

#define MOVED(name, ...) \
	{ \
		char moved[512]; \
		return NEXT(name)(move(path, moved, sizeof moved), ##__VA_ARGS__); \
	}

int access(const char *path, int mode) MOVED(access, mode)
int chmod(const char *path, mode_t mode) MOVED(chmod, mode)
int mkdir(const char *path, mode_t mode) MOVED(mkdir, mode)
int stat64(const char *path, struct stat64 *found) MOVED(stat64, found)
int unlink(const char *path) MOVED(unlink)
