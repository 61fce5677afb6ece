using System.Collections.Concurrent;
using System.Threading.Channels;
using NodeAgent.Issuer;

namespace NodeAgent.Tests.Issuer;

/// <summary>An audit with room for everything, that can be looked at as soon as a decision fell.</summary>
internal sealed class AuditQueue(ConcurrentQueue<AuditEntry> queue) : ChannelWriter<AuditEntry>
{
    public override bool TryWrite(AuditEntry item)
    {
        queue.Enqueue(item);
        return true;
    }

    public override ValueTask<bool> WaitToWriteAsync(CancellationToken cancellationToken = default) => ValueTask.FromResult(true);
}
