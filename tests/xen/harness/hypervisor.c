/* Stands in for the hypervisor beneath a XenStore daemon: preloaded into the C xenstored or into oxenstored, it answers
 * what they ask of event channels, of granted and foreign pages, and of the list of domains.
 *
 * Everything is files in the folder that XENSTORED_RUNDIR names:
 *   events         a FIFO to the daemon; four bytes for each event, the number of the port that fired
 *   page-N         the page that domain N shares with the daemon; the domain lives as long as this file is there
 *   wake-N         a FIFO to domain N; one byte each time the daemon notifies it
 * The port of domain N is FIRST_PORT + N; RELEASE_PORT fires when a domain came to its end.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RELEASE_PORT = 1, FIRST_PORT = 1000, DOMAINS = 1024, PAGE_SIZE = 4096 };
enum { SIZE_OF_DOMAIN_INFO = 112 }; /* struct xen_domctl_getdomaininfo of Xen 4.17, of which only the number is set */

static int events = -1;
static int wakes[DOMAINS]; /* descriptor + 1 of each domain's FIFO; 0: none */
static char handle;        /* its address is every handle that is given out */

static const char *name_of(const char *kind, unsigned domain)
{
	static char name[256];
	const char *folder = getenv("XENSTORED_RUNDIR");

	if (kind)
		snprintf(name, sizeof name, "%s/%s-%u", folder, kind, domain);
	else
		snprintf(name, sizeof name, "%s/events", folder);
	return name;
}

static int is_alive(unsigned domain)
{
	return domain == 0 || access(name_of("page", domain), F_OK) == 0;
}

static void *map_page(unsigned domain, int protection)
{
	int page = open(name_of("page", domain), O_RDWR | O_CLOEXEC);
	void *mapped;

	if (page < 0)
		return NULL;
	mapped = mmap(NULL, PAGE_SIZE, protection, MAP_SHARED, page, 0);
	close(page);
	return mapped == MAP_FAILED ? NULL : mapped;
}

/* Event channels */

void *xenevtchn_open(void *logger, unsigned flags)
{
	const char *name = name_of(NULL, 0);

	mkfifo(name, 0600);
	events = open(name, O_RDWR | O_NONBLOCK);
	return events < 0 ? NULL : &handle;
}

void *xenevtchn_fdopen(void *logger, int descriptor, unsigned flags)
{
	return xenevtchn_open(logger, flags);
}

int xenevtchn_close(void *channels)
{
	return 0;
}

int xenevtchn_fd(void *channels)
{
	return events;
}

int xenevtchn_bind_virq(void *channels, unsigned number)
{
	return RELEASE_PORT;
}

int xenevtchn_bind_interdomain(void *channels, uint32_t domain, uint32_t remote)
{
	const char *name = name_of("wake", domain);

	if (domain >= DOMAINS) {
		errno = EINVAL;
		return -1;
	}
	if (domain != 0 && wakes[domain] == 0) {
		mkfifo(name, 0600);
		wakes[domain] = open(name, O_RDWR | O_NONBLOCK | O_CLOEXEC) + 1;
	}
	return FIRST_PORT + domain;
}

int xenevtchn_unbind(void *channels, uint32_t port)
{
	uint32_t domain = port - FIRST_PORT;

	if (domain < DOMAINS && wakes[domain] > 0) {
		close(wakes[domain] - 1);
		wakes[domain] = 0;
	}
	return 0;
}

int xenevtchn_notify(void *channels, uint32_t port)
{
	uint32_t domain = port - FIRST_PORT;

	if (domain < DOMAINS && wakes[domain] > 0 && write(wakes[domain] - 1, "!", 1) < 0)
		return 0; /* it is full, so the domain has been notified */
	return 0;
}

int xenevtchn_pending(void *channels)
{
	uint32_t port;

	/* -1 would end the C xenstored; port 0 belongs to nobody */
	return read(events, &port, sizeof port) == sizeof port ? (int)port : 0;
}

int xenevtchn_unmask(void *channels, uint32_t port)
{
	return 0;
}

/* The pages of domains: the C xenstored maps grants, oxenstored frames */

void *xengnttab_open(void *logger, unsigned flags)
{
	return &handle;
}

int xengnttab_close(void *table)
{
	return 0;
}

int xengnttab_set_max_grants(void *table, uint32_t count)
{
	return 0;
}

void *xengnttab_map_grant_ref(void *table, uint32_t domain, uint32_t reference, int protection)
{
	return map_page(domain, protection);
}

int xengnttab_unmap(void *table, void *address, uint32_t count)
{
	return munmap(address, (size_t)count * PAGE_SIZE);
}

void *xc_map_foreign_range(void *interface, uint32_t domain, int size, int protection, unsigned long frame)
{
	return map_page(domain, protection);
}

/* The list of domains */

void *xc_interface_open(void *logger, void *other, unsigned flags)
{
	return &handle;
}

int xc_interface_close(void *interface)
{
	return 0;
}

int xc_domain_getinfo(void *interface, uint32_t first, unsigned count, void *info)
{
	if (!is_alive(first)) {
		errno = ESRCH;
		return -1;
	}
	memset(info, 0, 12); /* number, label, and the flags that say whether it is dying */
	*(uint32_t *)info = first;
	return 1;
}

int xc_domain_getinfolist(void *interface, uint32_t first, unsigned count, void *info)
{
	if (!is_alive(first))
		return 0;
	memset(info, 0, SIZE_OF_DOMAIN_INFO);
	*(uint16_t *)info = first;
	return 1;
}

/* oxenstored wants more descriptors than a container may have, and does without */

int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
	return 0;
}

int setrlimit64(__rlimit_resource_t resource, const struct rlimit64 *limit)
{
	return 0;
}
