#pragma once
#include "flags.h"

int WriteCommand(const Flags& flags);
int VerifyCommand(const Flags& flags);
int JournalCommand(const Flags& flags);
int VerifyJournalCommand(const Flags& flags);
