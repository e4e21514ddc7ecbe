"""Turn sizes into token counts: upper bounds for holds, estimates where a provider reports nothing."""
