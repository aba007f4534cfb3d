/* SPDX-License-Identifier: MIT */
/* tests/rdma/contract_tests.h - the tests of contract_mem.c. */
#ifndef TESTS_RDMA_CONTRACT_TESTS_H
#define TESTS_RDMA_CONTRACT_TESTS_H

#include "tests/rdma/contract.h"

void contract_writes_and_reads(const struct rnic_contract *k);
void contract_access(const struct rnic_contract *k);
void contract_other_keys(const struct rnic_contract *k);
void contract_deregistered(const struct rnic_contract *k);
void contract_windows(const struct rnic_contract *k);
void contract_window_and_message(const struct rnic_contract *k);
void contract_window_bounds(const struct rnic_contract *k);
void contract_invalidated_here(const struct rnic_contract *k);
void contract_invalidated_there(const struct rnic_contract *k);
void contract_invalidated_wrongly(const struct rnic_contract *k);
void contract_bound_wrongly(const struct rnic_contract *k);

#endif
