using System.Buffers;
using System.IO.Pipelines;
using Microsoft.AspNetCore.Connections;

namespace NodeAgent.Issuer;

/// <summary>
/// What comes in of a connection until its handshake is done: no more than so many bytes, and worked on only while there is a place. A node sends its leaf;
/// a stranger may send a chain whose signatures cost a hundred times as much, before anybody has decided anything. A place is held while there are bytes to
/// work on, never while they are waited for: who is silent keeps nobody out.
/// </summary>
internal sealed class HandshakeGate(ConnectionContext connection, int mostBytes, SemaphoreSlim places) : PipeReader, IDuplexPipe
{
    private readonly IDuplexPipe _bare = connection.Transport;
    private ReadOnlySequence<byte> _shown;
    private long _taken;
    private bool _hasPlace;

    public bool IsDone { get; private set; }

    public PipeReader Input => this;

    public PipeWriter Output => _bare.Output;

    /// <summary>From here on everything passes.</summary>
    public void Done()
    {
        IsDone = true;
        Leave();
    }

    /// <summary>When it came to nothing, too.</summary>
    public void Leave()
    {
        if (_hasPlace)
        {
            _hasPlace = false;
            places.Release();
        }
    }

    public override async ValueTask<ReadResult> ReadAsync(CancellationToken cancellationToken = default)
    {
        Leave();
        if (!IsDone && _taken >= mostBytes)
        {
            connection.Abort(new ConnectionAbortedException("more than a node sends before the handshake is done"));
            throw new IOException("more than a node sends before the handshake is done");
        }

        var read = await _bare.Input.ReadAsync(cancellationToken).ConfigureAwait(false);
        if (!IsDone)
        {
            try
            {
                await places.WaitAsync(cancellationToken).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                _bare.Input.AdvanceTo(read.Buffer.Start);
                throw;
            }

            _hasPlace = true;
        }

        return Shown(read);
    }

    public override bool TryRead(out ReadResult result)
    {
        // Asked for by nobody while hands are shaken.
        if (!IsDone || !_bare.Input.TryRead(out result))
        {
            result = default;
            return false;
        }

        result = Shown(result);
        return true;
    }

    public override void AdvanceTo(SequencePosition consumed) => AdvanceTo(consumed, consumed);

    public override void AdvanceTo(SequencePosition consumed, SequencePosition examined)
    {
        if (!IsDone)
        {
            _taken += _shown.Slice(0, consumed).Length;
        }

        _shown = default;
        _bare.Input.AdvanceTo(consumed, examined);
    }

    public override void CancelPendingRead() => _bare.Input.CancelPendingRead();

    public override void Complete(Exception? exception = null) => _bare.Input.Complete(exception);

    private ReadResult Shown(ReadResult read)
    {
        // A node's request may stand right behind its handshake: it is left for later, not counted.
        _shown = IsDone || read.Buffer.Length <= mostBytes - _taken ? read.Buffer : read.Buffer.Slice(0, mostBytes - _taken);
        return new(_shown, read.IsCanceled, read.IsCompleted && _shown.Length == read.Buffer.Length);
    }
}
